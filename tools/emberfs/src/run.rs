//! Runs a verb, and tells programs of its failure.

use engine_runtime::CoreSpec;
use engine_runtime::monoio::MonoioEnv;
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::output::Output;

/// That there is no result, for programs that read standard output alone.
#[derive(Serialize)]
struct ErrorDocument<'a> {
    error: String,
    hint: Option<&'a str>,
    exit_code: u8,
}

/// Runs a verb on one core.
pub(crate) fn on_core<F>(
    json: bool,
    spec: CoreSpec,
    verb: impl FnOnce(MonoioEnv) -> F + 'static,
) -> Result<Exit, Failure>
where
    F: Future<Output = Result<Exit, Failure>> + 'static,
{
    let done = engine_runtime::monoio::run(spec, verb);
    told(json, done.map_err(Failure::from).and_then(|done| done))
}

/// `done`; a failure is a document as well where documents are asked for.
pub(crate) fn told(json: bool, done: Result<Exit, Failure>) -> Result<Exit, Failure> {
    if let Err(failure) = &done
        && json
        && !failure.is_unheard()
    {
        let mut out = Output::standard(true);
        let error = format!("{:#}", failure.error);
        let (hint, exit_code) = (failure.hint.as_deref(), failure.exit as u8);
        out.document(&ErrorDocument { error, hint, exit_code })?;
        out.flush()?;
    }
    done
}
