//! The command line.

use std::path::PathBuf;
use std::time::Duration;

pub(crate) const USAGE: &str = "\
usage: loadgen (--tcp HOST:PORT | --unix PATH) [options]
  --connections N   connections, each with one message under way (100)
  --size BYTES      message length (1024)
  --http PREFIX     GET requests of PREFIX and a token that the answer's body must hold, in place of bytes to be echoed
  --then BYTES      every other message has this length (that of --size)
  --lines           messages are lines: exactly one newline, at the end
  --warmup SECONDS  time before the measurement starts (0.5)
  --seconds SECONDS time of the measurement (3)
  --core N          run on this CPU only
  --cpu-of PID      also report the CPU time of this process during the measurement
";

/// Where the server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Tcp(String),
    Unix(PathBuf),
}

#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) target: Target,
    pub(crate) connections: usize,
    pub(crate) size_bytes: usize,
    pub(crate) then_bytes: usize,
    pub(crate) lines: bool,
    pub(crate) http: Option<String>,
    pub(crate) warmup: Duration,
    pub(crate) measured: Duration,
    pub(crate) core: Option<usize>,
    pub(crate) cpu_of: Option<i32>,
}

impl Options {
    /// Reads the arguments; `None` when help was asked for.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut target = None;
        let mut connections = 100;
        let mut size_bytes = 1024;
        let mut then_bytes = None;
        let mut lines = false;
        let mut http = None;
        let mut warmup = Duration::from_millis(500);
        let mut measured = Duration::from_secs(3);
        let mut core = None;
        let mut cpu_of = None;

        let mut arguments = arguments;
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{name} wants a value"));
            match name.as_str() {
                "--help" | "-h" => return Ok(None),
                "--then" => then_bytes = Some(number(&name, &value()?)?),
                "--lines" => lines = true,
                "--http" => http = Some(value()?),
                "--tcp" => target = Some(Target::Tcp(value()?)),
                "--unix" => target = Some(Target::Unix(value()?.into())),
                "--connections" => connections = number(&name, &value()?)?,
                "--size" => size_bytes = number(&name, &value()?)?,
                "--warmup" => warmup = seconds(&name, &value()?)?,
                "--seconds" => measured = seconds(&name, &value()?)?,
                "--core" => core = Some(number(&name, &value()?)?),
                "--cpu-of" => cpu_of = Some(number(&name, &value()?)?),
                _ => return Err(format!("no option {name}")),
            }
        }
        let target = target.ok_or("one of --tcp and --unix is needed")?;
        let then_bytes = then_bytes.unwrap_or(size_bytes);
        if connections == 0 || size_bytes == 0 || then_bytes == 0 {
            return Err("--connections, --size and --then are at least 1".into());
        }
        Ok(Some(Self { target, connections, size_bytes, then_bytes, lines, http, warmup, measured, core, cpu_of }))
    }
}

impl Options {
    /// Of the messages, by turns.
    pub(crate) fn lengths(&self) -> [usize; 2] {
        [self.size_bytes, self.then_bytes]
    }
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{name}: {text} is not a whole number that fits"))
}

fn seconds(name: &str, text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| format!("{name}: {text} is not a number of seconds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<Options>, String> {
        Options::parse(text.split_whitespace().map(String::from))
    }

    #[test]
    fn a_target_alone_is_enough() {
        let options = parse("--unix /tmp/x").expect("parses").expect("no help asked");
        assert_eq!(options.target, Target::Unix("/tmp/x".into()));
        assert_eq!((options.connections, options.size_bytes, options.lines), (100, 1024, false));
        assert_eq!(options.lengths(), [1024, 1024]);
    }

    #[test]
    fn what_cannot_run_is_refused() {
        for text in
            ["", "--tcp a:1 --size 0", "--tcp a:1 --then 0", "--tcp a:1 --seconds -1", "--tcp a:1 --what", "--tcp"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
