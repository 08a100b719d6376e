//! What a task computes between two places where it waits, on a thread that serves others, bounded by time.

use std::time::Duration;

use tokio::time::Instant;

/// How long a task may compute before others have their turn.
const SLICE: Duration = Duration::from_millis(1);

/// A task's time slice. A loop that may be long asks at each turn whether it is used up, and waits behind the thread's other tasks if
/// it is. In simulation, where no time passes while a task computes, it never is.
#[derive(Debug)]
pub struct TimeSlice {
    ends: Instant,
}

impl TimeSlice {
    /// One that begins now.
    #[allow(clippy::disallowed_methods, reason = "measures how long a thread is taken up; virtual under simulation")]
    pub fn begin() -> TimeSlice {
        TimeSlice { ends: Instant::now() + SLICE }
    }

    /// Lets other tasks have their turn if the slice is used up, and begins the next one.
    #[allow(clippy::disallowed_methods, reason = "measures how long a thread is taken up; virtual under simulation")]
    pub async fn give_way(&mut self) {
        if Instant::now() >= self.ends {
            tokio::task::yield_now().await;
            *self = TimeSlice::begin();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_gives_way_once_its_slice_is_used_up() {
        let others = Cell::new(0);
        let computing = async {
            let mut slice = TimeSlice::begin();
            slice.give_way().await;
            assert_eq!(others.get(), 0, "it has just begun");
            tokio::time::advance(SLICE).await;
            let before = others.get();
            slice.give_way().await;
            assert_eq!(others.get(), before + 1, "it is used up");
            slice.give_way().await;
            assert_eq!(others.get(), before + 1, "the next one has just begun");
        };
        let other = async {
            loop {
                tokio::task::yield_now().await;
                others.set(others.get() + 1);
            }
        };
        tokio::select! {
            biased;
            () = computing => {}
            () = other => {}
        }
    }
}
