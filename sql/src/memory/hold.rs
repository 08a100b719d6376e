//! What clients hold: counted by whoever keeps it, in the node's pool.

use std::fmt;
use std::sync::Arc;

use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use parking_lot::Mutex;

use super::{FREE_BYTES, leaves_room};
use crate::error::{SqlError, code};

/// What one client holds, be it its session or its connection. Clones are the same.
#[derive(Clone)]
pub struct ClientMemory(Arc<Client>);

struct Client {
    pool: Arc<dyn MemoryPool>,
    sum: Mutex<Sum>,
}

struct Sum {
    /// Of all holds.
    bytes: usize,
    /// What of it is beyond [`FREE_BYTES`].
    reservation: MemoryReservation,
}

/// Memory that somebody keeps. Given back when it is dropped.
pub struct Hold {
    client: Arc<Client>,
    bytes: usize,
}

impl ClientMemory {
    /// Of a client that holds nothing yet.
    pub(crate) fn new(pool: &Arc<dyn MemoryPool>) -> Self {
        let reservation = MemoryConsumer::new("what a client holds").register(pool);
        ClientMemory(Arc::new(Client { pool: pool.clone(), sum: Mutex::new(Sum { bytes: 0, reservation }) }))
    }

    /// Holds so much.
    ///
    /// # Errors
    /// 53200 when there is not so much left.
    pub fn hold(&self, bytes: usize) -> Result<Hold, SqlError> {
        let mut hold = self.nothing();
        hold.resize(bytes)?;
        Ok(hold)
    }

    /// Holds nothing yet.
    pub fn nothing(&self) -> Hold {
        Hold { client: self.0.clone(), bytes: 0 }
    }

    /// What all holds come to.
    pub fn held_bytes(&self) -> usize {
        self.0.sum.lock().bytes
    }
}

impl Client {
    fn change(&self, from: usize, to: usize) -> Result<(), SqlError> {
        let mut sum = self.sum.lock();
        let bytes = (sum.bytes - from).saturating_add(to);
        let counted = bytes.saturating_sub(FREE_BYTES);
        let reserved = sum.reservation.size();
        if counted > reserved {
            let grown = leaves_room(&*self.pool, reserved, counted - reserved);
            grown.and_then(|()| sum.reservation.try_resize(counted)).map_err(|_| refused(to))?;
        } else {
            let less = sum.reservation.size() - counted;
            sum.reservation.shrink(less);
        }
        sum.bytes = bytes;
        Ok(())
    }
}

/// 53200 for so much.
fn refused(bytes: usize) -> SqlError {
    SqlError::new(code::OUT_OF_MEMORY, "out of memory").detail(format!(
        "Failed on request of {bytes} bytes: statements and sessions of this node hold as much together as they may."
    ))
}

impl Hold {
    /// How much.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Holds so much instead.
    ///
    /// # Errors
    /// 53200 when it is more, and there is not so much left; it holds what it held then.
    pub fn resize(&mut self, bytes: usize) -> Result<(), SqlError> {
        self.client.change(self.bytes, bytes)?;
        self.bytes = bytes;
        Ok(())
    }

    /// Holds so much more.
    ///
    /// # Errors
    /// As [`Hold::resize`].
    pub fn grow(&mut self, bytes: usize) -> Result<(), SqlError> {
        self.resize(self.bytes.saturating_add(bytes))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let _ = self.client.change(self.bytes, 0);
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hold").field(&self.bytes).finish()
    }
}

impl fmt::Debug for ClientMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientMemory").field(&self.held_bytes()).finish()
    }
}

#[cfg(test)]
mod tests;
