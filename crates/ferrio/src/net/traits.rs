//! The traits of reading and writing, for plain sockets.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::io;

use super::tcp::TcpStream;
use super::unix::UnixStream;

/// Both families of traits, for a socket with `io` in it, and for references to it: one task may read while another writes.
macro_rules! reads_and_writes {
    ($socket:ty) => {
        impl futures_io::AsyncRead for &$socket {
            fn poll_read(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                self.io.poll_receive(context, buffer)
            }
        }

        impl futures_io::AsyncWrite for &$socket {
            fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                self.io.poll_send(context, bytes)
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(self.io.shut_down())
            }
        }

        impl futures_io::AsyncRead for $socket {
            fn poll_read(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                self.io.poll_receive(context, buffer)
            }
        }

        impl futures_io::AsyncWrite for $socket {
            fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                self.io.poll_send(context, bytes)
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(self.io.shut_down())
            }
        }

        #[cfg(feature = "tokio-io")]
        impl tokio::io::AsyncRead for $socket {
            fn poll_read(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut tokio::io::ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                let received = self.io.poll_receive(context, buffer.initialize_unfilled());
                received.map_ok(|count| buffer.advance(count))
            }
        }

        #[cfg(feature = "tokio-io")]
        impl tokio::io::AsyncWrite for $socket {
            fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                self.io.poll_send(context, bytes)
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(self.io.shut_down())
            }
        }
    };
}

reads_and_writes!(TcpStream);
reads_and_writes!(UnixStream);
