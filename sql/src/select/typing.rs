//! Types for what stands in lists, branches and arguments, as the operators' operands get theirs.
//!
//! A literal or parameter of no type yet takes the type of its likes: of the other members of an IN list, the other branches
//! of a CASE, the target of a cast.

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{InList, InSubquery, Like, Placeholder, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, LogicalPlanBuilder, Operator};

mod alike;
mod union;
mod window;

use super::calls::{Call, Kind, no_operator};
use super::errors::external;
use super::operators::{Known, Operators, common, is_comparison};
use crate::functions;
use crate::types::PgType;

/// Settles the types of everything in a plan.
pub(super) fn settle_plan(operators: &Operators, plan: LogicalPlan) -> Result<LogicalPlan> {
    let settled = plan.transform_up_with_subqueries(|plan| {
        let schema = match &plan {
            LogicalPlan::TableScan(scan) => {
                DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?
            }
            other => merge_schema(&other.inputs()),
        };
        if let LogicalPlan::Union(union) = plan {
            return union::meet(operators, union).map(Transformed::yes);
        }
        let names = NamePreserver::new(&plan);
        let changed = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let settled = settle(operators, expr, &schema)?;
            Ok(settled.update_data(|expr| name.restore(expr)))
        })?;
        let plan = if changed.transformed { changed.data.recompute_schema()? } else { changed.data };
        let plan = match plan {
            LogicalPlan::Window(window) if changed.transformed => window::without_twins(window)?,
            other => alike::by_value(operators, other)?,
        };
        Ok(Transformed::yes(plan))
    })?;
    Ok(settled.data)
}

/// Settles what an operand consists of, before its own type is asked for. What an operator has made of its own operands is settled already.
pub(super) fn settle_inside(operators: &Operators, expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let down = |expr: Expr| {
        let known = is_of_operator(&expr);
        Ok(Transformed::new(expr, false, if known { TreeNodeRecursion::Jump } else { TreeNodeRecursion::Continue }))
    };
    Ok(expr.transform_down_up(down, |expr| settle_one(operators, expr, schema))?.data)
}

fn is_of_operator(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryExpr(BinaryExpr { op, .. }) => {
            op.is_logic_operator() || *op == Operator::StringConcat || is_comparison(*op)
        }
        Expr::ScalarFunction(function) => match Call::kind_of(&function.func) {
            Some(kind) => matches!(kind, Kind::Arithmetic(_) | Kind::Compare(_)),
            None => false,
        },
        _ => false,
    }
}

/// Settles the types of everything in the body of a step.
pub(super) fn settle_body(operators: &Operators, body: Expr, schema: &DFSchema) -> Result<Expr> {
    Ok(settle(operators, body, schema)?.data.unalias())
}

fn settle(operators: &Operators, expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    expr.transform_up(|expr| settle_one(operators, expr, schema))
}

fn settle_one(operators: &Operators, expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::InList(list) => Transformed::yes(in_list(operators, list, schema)?),
        Expr::Case(mut case) => {
            let mut branches: Vec<Expr> = case.when_then_expr.iter().map(|(_, then)| (**then).clone()).collect();
            let otherwise = case.else_expr.is_some();
            branches.extend(case.else_expr.take().map(|expr| *expr));
            let (mut branches, _) = operators.unify(branches, schema)?;
            if otherwise {
                case.else_expr = branches.pop().map(Box::new);
            }
            for ((_, then), branch) in case.when_then_expr.iter_mut().zip(branches) {
                **then = branch;
            }
            if let Some(operand) = case.expr.take() {
                let mut compared = vec![*operand];
                compared.extend(case.when_then_expr.iter().map(|(when, _)| (**when).clone()));
                let (compared, ty) = operators.unify(compared, schema)?;
                let mut compared = keys(operators, compared, ty).into_iter();
                case.expr = compared.next().map(Box::new);
                for ((when, _), value) in case.when_then_expr.iter_mut().zip(compared) {
                    **when = value;
                }
            }
            Transformed::yes(Expr::Case(case))
        }
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: op @ (Operator::IsDistinctFrom | Operator::IsNotDistinctFrom),
            right,
        }) => {
            let (sides, ty) = operators.unify(vec![*left, *right], schema)?;
            Transformed::yes(distinct(operators, op, sides, ty))
        }
        Expr::InSubquery(is_in) => Transformed::yes(Expr::InSubquery(in_subquery(operators, is_in, schema)?)),
        Expr::ScalarFunction(function) => call(operators, function, schema)?,
        Expr::WindowFunction(mut window) => Transformed::yes({
            window::count_peers(&mut window.params.window_frame);
            Expr::WindowFunction(Box::new(alike::window(operators, *window, schema)))
        }),
        Expr::Like(Like { negated, expr, pattern, escape_char, case_insensitive }) => {
            let expr = Box::new(operators.settle(*expr, PgType::Text)?);
            let pattern = Box::new(operators.settle(*pattern, PgType::Text)?);
            Transformed::yes(Expr::Like(Like { negated, expr, pattern, escape_char, case_insensitive }))
        }
        other => Transformed::no(other),
    })
}

fn in_list(operators: &Operators, list: InList, schema: &DFSchema) -> Result<Expr> {
    let mut members = vec![*list.expr];
    members.extend(list.list);
    let (members, ty) = operators.unify(members, schema)?;
    let mut members = keys(operators, members, ty).into_iter();
    let expr = members.next().map(Box::new).unwrap_or_else(|| Box::new(Expr::default()));
    Ok(Expr::InList(InList { expr, list: members.collect(), negated: list.negated }))
}

/// Numbers meet at one type on both sides of `x IN (SELECT …)`; the library, to which a numeric is bytes, sees to the other types.
fn in_subquery(operators: &Operators, is_in: InSubquery, schema: &DFSchema) -> Result<InSubquery> {
    let InSubquery { mut expr, mut subquery, negated } = is_in;
    let column = subquery.subquery.schema().columns().swap_remove(0);
    let value = Expr::Column(column);
    let known = (operators.known(&expr, schema), operators.known(&value, subquery.subquery.schema()));
    match known {
        (Some(Known::Unknown), Some(Known::Type(ty))) => *expr = operators.settle(*expr, ty)?,
        (Some(Known::Type(left)), Some(Known::Type(right))) if left != right => {
            if let Some(ty @ PgType::Numeric) = common(left, right) {
                *expr = operators.convert(*expr, left, ty)?;
                let value = operators.convert(value, right, ty)?;
                let plan = LogicalPlanBuilder::from(std::sync::Arc::unwrap_or_clone(subquery.subquery));
                subquery.subquery = std::sync::Arc::new(plan.project([value])?.build()?);
            }
        }
        _ => {}
    }
    Ok(InSubquery { expr, subquery, negated })
}

/// `IS [NOT] DISTINCT FROM` of two sides of one type.
fn distinct(operators: &Operators, op: Operator, sides: Vec<Expr>, ty: Option<PgType>) -> Expr {
    if ty.is_some_and(|ty| matches!(ty, PgType::Interval | PgType::Jsonb) || ty.is_array()) {
        return operators.call(Kind::Distinct(op == Operator::IsDistinctFrom), sides);
    }
    let mut sides = keys(operators, sides, ty).into_iter();
    let mut side = || Box::new(sides.next().unwrap_or_default());
    Expr::BinaryExpr(BinaryExpr { left: side(), op, right: side() })
}

/// Numbers that are compared by the library itself are compared by their keys.
fn keys(operators: &Operators, members: Vec<Expr>, ty: Option<PgType>) -> Vec<Expr> {
    if ty != Some(PgType::Numeric) {
        return members.into_iter().map(super::operators::fold).collect();
    }
    members.into_iter().map(|member| operators.call(Kind::NumericKey, vec![member])).collect()
}

fn call(operators: &Operators, function: ScalarFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let ScalarFunction { func, mut args } = function;
    match Call::kind_of(&func) {
        Some(Kind::Cast(to, _)) if args.len() == 1 => {
            if let Expr::Placeholder(Placeholder { field: None, .. }) = &args[0] {
                let arg = std::mem::take(&mut args[0]);
                args[0] = operators.settle(arg, to)?;
                return Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args })));
            }
        }
        Some(Kind::Quantified(..)) if args.len() == 2 => {
            let known = (operators.known(&args[0], schema), operators.known(&args[1], schema));
            let settled = match known {
                (Some(Known::Type(ty)), Some(Known::Unknown)) => ty.array().map(|array| (1, array)),
                (Some(Known::Unknown), Some(Known::Type(array))) => array.element().map(|ty| (0, ty)),
                (Some(Known::Unknown), Some(Known::Unknown)) => Some((1, PgType::TextArray)),
                _ => None,
            };
            if let Some((place, ty)) = settled {
                let arg = std::mem::take(&mut args[place]);
                args[place] = operators.settle(arg, ty)?;
                return Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args })));
            }
        }
        Some(Kind::Between) => {
            let types: Vec<Option<Known>> = args.iter().map(|arg| operators.known(arg, schema)).collect();
            let (args, met) = operators.unify(args, schema)?;
            if let ([Some(Known::Type(value)), low, high], None | Some(PgType::Json)) = (&types[..], met) {
                for (bound, symbol) in [(low, ">="), (high, "<=")] {
                    if let Some(Known::Type(bound)) = bound
                        && (common(*value, *bound).is_none() || *value == PgType::Json)
                    {
                        return Err(external(no_operator(symbol, *value, *bound)));
                    }
                }
            }
            return Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args })));
        }
        Some(Kind::Coalesce | Kind::NullIf | Kind::Extreme(_)) => {
            let (args, _) = operators.unify(args, schema)?;
            return Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args })));
        }
        None if functions::name_of(&func).is_some() => {
            if let Some(args) = arguments(operators, func.name(), &args, schema)? {
                return Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args })));
            }
        }
        None if matches!(func.name(), "make_array") => {
            let (args, _) = operators.unify(args, schema)?;
            return Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args })));
        }
        _ => {}
    }
    Ok(Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args })))
}

/// A function's arguments with those of no type yet as the function wants them; none if all have types, or no function fits.
fn arguments(operators: &Operators, name: &str, args: &[Expr], schema: &DFSchema) -> Result<Option<Vec<Expr>>> {
    let known: Option<Vec<Known>> = args.iter().map(|arg| operators.known(arg, schema)).collect();
    let Some(known) = known.filter(|known| known.contains(&Known::Unknown)) else { return Ok(None) };
    let ty = |known: &Known| if let Known::Type(ty) = known { *ty } else { PgType::Unknown };
    let types: Vec<PgType> = known.iter().map(ty).collect();
    let Ok(resolved) = functions::resolve(name, &types) else { return Ok(None) };
    let settled = args.iter().zip(&known).zip(resolved.argument_types()).map(|((arg, known), wanted)| match known {
        Known::Unknown => {
            operators.settle(arg.clone(), if *wanted == PgType::Unknown { PgType::Text } else { *wanted })
        }
        Known::Type(_) => Ok(arg.clone()),
    });
    settled.collect::<Result<Vec<Expr>>>().map(Some)
}
