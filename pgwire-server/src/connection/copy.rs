//! COPY, both ways.

use pgwire::messages::copy::{CopyData, CopyDone, CopyInResponse, CopyOutResponse};
use sql::{CancelToken, CopyIn, CopyStream, SqlError};
use tokio::io::{AsyncRead, AsyncWrite};

use super::rows::canceled;
use super::{Connection, Failure, PROTOCOL_VIOLATION};
use crate::wire::Frontend;

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection<S> {
    /// Takes the client's data to its end; returns the command tag.
    pub(super) async fn copy_in(&mut self, mut copy: CopyIn, cancel: &CancelToken) -> Result<String, Failure> {
        let columns = copy.columns as i16;
        self.send_notices();
        self.framed.send(&CopyInResponse::new(0, columns, vec![0; columns as usize]));
        self.framed.flush().await?;
        loop {
            let message = tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(canceled().into()),
                message = self.framed.read() => message?,
            };
            let Some(message) = message else {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            };
            match message {
                Frontend::CopyData(data) => copy.write(data).await?,
                Frontend::CopyDone => return Ok(copy.finish().await?),
                Frontend::CopyFail(reason) => {
                    return Err(SqlError::new("57014", format!("COPY from stdin failed: {reason}")).into());
                }
                Frontend::PassedOver { error, .. } => return Err(error.into()),
                Frontend::Flush | Frontend::Sync => {}
                _ => {
                    return Err(
                        SqlError::new(PROTOCOL_VIOLATION, "unexpected message type during COPY from stdin").into()
                    );
                }
            }
        }
    }

    /// Sends data to its end; returns the command tag.
    pub(super) async fn copy_out(
        &mut self,
        columns: usize,
        mut data: CopyStream,
        cancel: &CancelToken,
    ) -> Result<String, Failure> {
        self.send_notices();
        self.framed.send(&CopyOutResponse::new(0, columns as i16, vec![0; columns]));
        let mut rows = 0;
        loop {
            let chunk = tokio::select! {
                biased;
                chunk = data.next() => chunk?,
                () = cancel.cancelled() => return Err(canceled().into()),
                () = self.framed.closed() => return Err(canceled().into()),
            };
            let Some(chunk) = chunk else { break };
            rows += chunk.rows;
            for line in chunk.lines {
                self.framed.send(&CopyData::new(line));
                self.framed.flush_if_full().await?;
            }
        }
        self.framed.send(&CopyDone::new());
        Ok(format!("COPY {rows}"))
    }
}
