//! A set of writes that takes effect as one; also the form in which effects travel through the Raft log.

use bytes::Bytes;

/// One write. Without a value it deletes.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct WriteOp {
    /// The engine key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The new value; `None` deletes the key.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub value: Option<Bytes>,
}

/// Writes in order; the last one to a key wins.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct WriteBatch {
    /// The writes.
    #[prost(message, repeated, tag = "1")]
    pub ops: Vec<WriteOp>,
}

impl WriteBatch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key.
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.ops.push(WriteOp { key: key.into(), value: Some(value.into()) });
    }

    /// Deletes a key, which need not exist.
    pub fn delete(&mut self, key: impl Into<Bytes>) {
        self.ops.push(WriteOp { key: key.into(), value: None });
    }

    /// Appends the writes of another batch.
    pub fn append(&mut self, mut other: WriteBatch) {
        self.ops.append(&mut other.ops);
    }

    /// How many writes there are.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Bytes of keys and values.
    pub fn size_bytes(&self) -> usize {
        self.ops.iter().map(|op| op.key.len() + op.value.as_ref().map_or(0, Bytes::len)).sum()
    }
}
