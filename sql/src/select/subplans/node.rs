//! The logical operator: its input, and a column for each subquery.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DFSchemaRef, Result};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

/// What is asked of a subquery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Has it rows?
    Exists,
    /// Is a value among its rows?
    In,
    /// What is its only row?
    Scalar,
}

/// A subquery that is evaluated for each row of the input.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct SubPlan {
    /// The column that holds what it comes to.
    pub name: String,
    pub kind: Kind,
    pub plan: Arc<LogicalPlan>,
    /// The columns of the input that it names.
    pub outer: Vec<Column>,
    /// What is looked for among its rows.
    pub left: Option<Expr>,
}

impl SubPlan {
    fn field(&self) -> FieldRef {
        match self.kind {
            Kind::Exists | Kind::In => Arc::new(Field::new(&self.name, DataType::Boolean, true)),
            Kind::Scalar => {
                let field = self.plan.schema().field(0);
                Arc::new(field.as_ref().clone().with_name(&self.name).with_nullable(true))
            }
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct SubPlans {
    pub input: LogicalPlan,
    pub subplans: Vec<SubPlan>,
    /// Parameters in the subqueries, and what they are: whoever fills in a plan's parameters finds them here.
    pub parameters: BTreeMap<String, Expr>,
    schema: DFSchemaRef,
}

impl SubPlans {
    pub fn try_new(input: LogicalPlan, subplans: Vec<SubPlan>) -> Result<Self> {
        let mut parameters = BTreeMap::new();
        for subplan in &subplans {
            subplan.plan.apply_with_subqueries(|node| {
                node.apply_expressions(|expr| {
                    expr.apply(|expr| {
                        if let Expr::Placeholder(placeholder) = expr {
                            parameters.insert(placeholder.id.clone(), expr.clone());
                        }
                        Ok(TreeNodeRecursion::Continue)
                    })
                })
            })?;
        }
        Self::with_parameters(input, subplans, parameters)
    }

    fn with_parameters(input: LogicalPlan, subplans: Vec<SubPlan>, parameters: BTreeMap<String, Expr>) -> Result<Self> {
        let own = input.schema().iter().map(|(qualifier, field)| (qualifier.cloned(), field.clone()));
        let fields = own.chain(subplans.iter().map(|subplan| (None, subplan.field()))).collect();
        let schema = DFSchema::new_with_metadata(fields, input.schema().metadata().clone())?;
        Ok(SubPlans { input, subplans, parameters, schema: Arc::new(schema) })
    }

    /// A subquery with what its parameters are.
    pub fn filled(&self, subplan: &SubPlan) -> Result<LogicalPlan> {
        let filled = |expr: Expr| {
            expr.transform_up(|expr| {
                Ok(match &expr {
                    Expr::Placeholder(placeholder) => match self.parameters.get(&placeholder.id) {
                        Some(value) if *value != expr => Transformed::yes(value.clone()),
                        _ => Transformed::no(expr),
                    },
                    _ => Transformed::no(expr),
                })
            })
        };
        let fill = |node: LogicalPlan| {
            let preserver = datafusion::logical_expr::expr_rewriter::NamePreserver::new(&node);
            node.map_expressions(|expr| {
                let name = preserver.save(&expr);
                Ok(filled(expr)?.update_data(|expr| name.restore(expr)))
            })
        };
        (*subplan.plan).clone().transform_up_with_subqueries(fill).data()
    }

    fn outer_exprs(&self) -> impl Iterator<Item = Expr> {
        let of = |subplan: &SubPlan| subplan.outer.iter().cloned().map(Expr::Column).collect::<Vec<_>>();
        self.subplans.iter().flat_map(of)
    }
}

impl PartialEq for SubPlans {
    fn eq(&self, other: &Self) -> bool {
        self.input == other.input && self.subplans == other.subplans && self.parameters == other.parameters
    }
}

impl Eq for SubPlans {}

impl PartialOrd for SubPlans {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl Hash for SubPlans {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.input.hash(state);
        self.subplans.hash(state);
        self.parameters.hash(state);
    }
}

impl UserDefinedLogicalNodeCore for SubPlans {
    fn name(&self) -> &str {
        "SubPlans"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    /// Columns that subqueries name, values that are looked for, parameters.
    fn expressions(&self) -> Vec<Expr> {
        let left = self.subplans.iter().filter_map(|subplan| subplan.left.clone());
        self.outer_exprs().chain(left).chain(self.parameters.values().cloned()).collect()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        self.subplans.iter().map(|subplan| subplan.name.clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<String> = self.subplans.iter().map(|subplan| format!("{:?}", subplan.kind)).collect();
        write!(f, "SubPlans: {}", kinds.join(", "))
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let mut exprs = exprs.into_iter();
        let mut next = || exprs.next().ok_or_else(|| DataFusionError::Internal("an expression is missing".into()));
        let mut subplans = self.subplans.clone();
        for column in subplans.iter_mut().flat_map(|subplan| &mut subplan.outer) {
            match next()? {
                Expr::Column(same) => *column = same,
                other => return Err(DataFusionError::Internal(format!("{other} stands for a column"))),
            }
        }
        for left in subplans.iter_mut().filter_map(|subplan| subplan.left.as_mut()) {
            *left = next()?;
        }
        let mut parameters = BTreeMap::new();
        for name in self.parameters.keys() {
            parameters.insert(name.clone(), next()?);
        }
        let input = inputs.into_iter().next().ok_or_else(|| DataFusionError::Internal("an input is missing".into()))?;
        Self::with_parameters(input, subplans, parameters)
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let schema = self.input.schema();
        let mut needed: Vec<usize> =
            output_columns.iter().copied().filter(|column| *column < schema.fields().len()).collect();
        let mut columns = HashSet::new();
        for expr in self.expressions() {
            columns.extend(expr.column_refs().into_iter().cloned());
        }
        for column in columns {
            needed.push(schema.index_of_column(&column).ok()?);
        }
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}
