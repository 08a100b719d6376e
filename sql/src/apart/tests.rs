use std::sync::Arc;

use super::*;

fn apart() -> Apart {
    Apart::new(clock::Tasks::on(tokio::runtime::Handle::current()))
}

/// What the work and whoever waits for it tell each other.
#[derive(Clone, Default)]
struct Told {
    begun: Arc<tokio::sync::Notify>,
    stopped: Arc<tokio::sync::Notify>,
}

impl Told {
    /// Computes without a pause until it is told to stop, then says so.
    fn compute(&self) -> Result<(), SqlError> {
        self.begun.notify_one();
        loop {
            if let Err(error) = interrupt::check() {
                self.stopped.notify_one();
                return Err(error);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn whoever_waits_can_let_go_while_the_work_never_pauses() {
    let told = Told::default();
    let (apart, busy) = (apart(), told.clone());
    tokio::select! {
        _ = apart.run(async move { busy.compute() }) => panic!("the work ended by itself"),
        () = told.begun.notified() => {}
    }
    told.stopped.notified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_stream_that_is_dropped_stops_its_work() {
    let told = Told::default();
    let busy = told.clone();
    let mut items = apart().stream(|_| async move {
        let endless = futures::stream::iter(0..).map(move |number| match number {
            0 => Ok(number),
            _ => busy.compute().map(|()| number),
        });
        Ok(Box::pin(endless) as Items<i32>)
    });
    assert_eq!(items.next().await.unwrap().unwrap(), 0);
    told.begun.notified().await;
    drop(items);
    told.stopped.notified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn items_come_in_order_and_an_error_ends_them() {
    let items = apart().stream(|_| async move {
        let some = futures::stream::iter([Ok(1), Ok(2), Err(SqlError::new("22012", "division by zero")), Ok(3)]);
        Ok(Box::pin(some) as Items<i32>)
    });
    let came: Vec<Result<i32, &str>> = items.map(|item| item.map_err(|error| error.code)).collect().await;
    assert_eq!(came, [Ok(1), Ok(2), Err("22012")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_panic_of_the_work_reaches_whoever_waits() {
    let waiting = async {
        let mut items = apart().stream(|_| async move {
            let broken = futures::stream::iter(0..2).map(|number| if number == 0 { Ok(0) } else { panic!("broken") });
            Ok(Box::pin(broken) as Items<i32>)
        });
        while let Some(Ok(_)) = items.next().await {}
    };
    let caught = futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(waiting)).await;
    assert!(caught.is_err());
}
