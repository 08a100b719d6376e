use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::Int64Type;
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::TryStreamExt;

use super::*;

async fn batches_of(sql: &str) -> Vec<RecordBatch> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    let batches = execute_stream(guarded(plan).unwrap(), context.task_ctx()).unwrap();
    batches.try_collect().await.unwrap()
}

#[tokio::test]
async fn large_literals_are_written_out_for_few_rows_at_a_time() {
    let literal = "x".repeat(64 << 10);
    let batches = batches_of(&format!("SELECT value, '{literal}' FROM generate_series(1, 5000)")).await;
    let rows: Vec<usize> = batches.iter().map(RecordBatch::num_rows).collect();
    assert_eq!(rows.iter().sum::<usize>(), 5000);
    assert!(rows.iter().all(|rows| rows * literal.len() <= WRITTEN_OUT_BYTES), "{rows:?}");
    let values: Vec<i64> =
        batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
    assert_eq!(values, (1..=5000).collect::<Vec<i64>>(), "no row is lost, or comes twice");
}

#[tokio::test]
async fn inputs_come_one_after_the_other() {
    let union = "SELECT 3 AS n UNION ALL SELECT 1 UNION ALL SELECT value FROM generate_series(7, 9) UNION ALL SELECT 2";
    let batches = batches_of(union).await;
    let values: Vec<i64> =
        batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
    assert_eq!(values, [3, 1, 7, 8, 9, 2]);
    let limited = batches_of(&format!("SELECT * FROM ({union}) LIMIT 4")).await;
    assert_eq!(limited.iter().map(RecordBatch::num_rows).sum::<usize>(), 4);
}

#[tokio::test]
async fn a_join_is_the_same_with_its_filter_watched() {
    let pairs = "SELECT a.value, b.value FROM generate_series(1, 50) a JOIN generate_series(1, 50) b ON";
    for (condition, rows) in [("a.value < b.value", 1225), ("a.value % 5 = b.value % 5 AND a.value < b.value", 225)] {
        let batches = batches_of(&format!("{pairs} {condition}")).await;
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), rows, "{condition}");
    }
}
