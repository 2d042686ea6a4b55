//! A closed-loop load generator for echo servers and HTTP services.
//!
//! Every connection sends one message, waits until the same bytes are back, and sends the next. One thread, one epoll;
//! a message costs one `write`, one `read`, one clock reading and two passes over its bytes, and the result holds this
//! program's own CPU time, so that a run in which the generator was the limit can be told from one in which the server
//! was.
//!
//! Output: one line of JSON. Exit status: 0 measured, 1 could not run, 2 a server returned bytes that it was not sent.

mod connection;
mod cpu_clock;
mod histogram;
mod http;
mod options;
mod payload;
mod run;

use std::process::ExitCode;

use options::{Options, USAGE};
use run::Failure;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("loadgen: {problem}\n{USAGE}");
            return ExitCode::from(1);
        }
    };
    match run::run(&options) {
        Ok(report) => {
            println!("{}", report.to_json());
            ExitCode::SUCCESS
        }
        Err(Failure::System { doing, error }) => {
            eprintln!("loadgen: {doing}: {error}");
            ExitCode::from(1)
        }
        Err(Failure::Bytes(sentence)) => {
            eprintln!("loadgen: {sentence}");
            ExitCode::from(2)
        }
    }
}
