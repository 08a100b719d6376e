//! Waiting for something that another task brings about.

use tokio::sync::Notify;

/// Looks until there is something to see, again whenever `bell` is rung. A bell that is rung while `look` runs is heard: whoever
/// changes what `look` reads, and rings after it, cannot be missed.
pub async fn wait_for<T>(bell: &Notify, mut look: impl FnMut() -> Option<T>) -> T {
    loop {
        let rung = bell.notified();
        tokio::pin!(rung);
        // From here on it hears the bell, before the look below.
        rung.as_mut().enable();
        if let Some(seen) = look() {
            return seen;
        }
        rung.await;
    }
}
