//! Reads that need nothing of each other are asked for at the same time.
//!
//! All of them end before an error is looked at, and the first in the order of the arguments is
//! the answer: which of two errors a caller sees does not hang on which read was faster.
//!
//! What is joined is on the heap: an async function holds its arguments once more while it waits
//! for them, so that joins of joins would double at each level.

use futures_lite::future::zip;

/// Two at once.
pub(crate) fn both<A, B, E>(
    a: impl Future<Output = Result<A, E>>,
    b: impl Future<Output = Result<B, E>>,
) -> impl Future<Output = Result<(A, B), E>> {
    let both = zip(Box::pin(a), Box::pin(b));
    async {
        let (a, b) = both.await;
        Ok((a?, b?))
    }
}

/// Three at once.
pub(crate) fn three<A, B, C, E>(
    a: impl Future<Output = Result<A, E>>,
    b: impl Future<Output = Result<B, E>>,
    c: impl Future<Output = Result<C, E>>,
) -> impl Future<Output = Result<(A, B, C), E>> {
    let three = zip(Box::pin(a), zip(Box::pin(b), Box::pin(c)));
    async {
        let (a, (b, c)) = three.await;
        Ok((a?, b?, c?))
    }
}

/// One if it is wanted, else nothing.
pub(crate) fn wanted<A, E>(
    read: Option<impl Future<Output = Result<A, E>>>,
) -> impl Future<Output = Result<Option<A>, E>> {
    let read = read.map(Box::pin);
    async {
        match read {
            Some(read) => read.await.map(Some),
            None => Ok(None),
        }
    }
}
