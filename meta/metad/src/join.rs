//! Reads that need nothing of each other are asked for at the same time.
//!
//! All of them end before an error is looked at, and the first in the order of the arguments is
//! the answer: which of two errors a caller sees does not hang on which read was faster.

use futures_lite::future::zip;

/// Two at once.
pub(crate) async fn both<A, B, E>(
    a: impl Future<Output = Result<A, E>>,
    b: impl Future<Output = Result<B, E>>,
) -> Result<(A, B), E> {
    let (a, b) = zip(a, b).await;
    Ok((a?, b?))
}

/// Three at once.
pub(crate) async fn three<A, B, C, E>(
    a: impl Future<Output = Result<A, E>>,
    b: impl Future<Output = Result<B, E>>,
    c: impl Future<Output = Result<C, E>>,
) -> Result<(A, B, C), E> {
    let (a, (b, c)) = zip(a, zip(b, c)).await;
    Ok((a?, b?, c?))
}

/// One if it is wanted, else nothing.
pub(crate) async fn wanted<A, E>(
    read: Option<impl Future<Output = Result<A, E>>>,
) -> Result<Option<A>, E> {
    match read {
        Some(read) => read.await.map(Some),
        None => Ok(None),
    }
}
