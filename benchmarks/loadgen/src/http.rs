//! One HTTP exchange after another on a connection: a GET whose path names connection and number, and its answer.
//!
//! The answer has status 200 and a `Content-Length`, and its body holds the path's last part once more, so that an answer
//! which was meant for another connection, or for an earlier request, is seen.

use std::fmt::Write as _;

/// Room for an answer. A longer one ends the run.
pub(crate) const ANSWER_BYTES: usize = 64 * 1024;

/// The exchange under way.
pub(crate) struct Exchange {
    prefix: String,
    connection: usize,
    sequence: u64,
    token: String,
    request: Vec<u8>,
    answer: Vec<u8>,
}

/// What the bytes of an answer amount to so far.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Part,
    Complete,
    Wrong(String),
}

impl Exchange {
    /// Request 0 of `connection`; paths are `prefix` and a token.
    pub(crate) fn new(prefix: &str, connection: usize) -> Self {
        let mut exchange = Self {
            prefix: prefix.into(),
            connection,
            sequence: 0,
            token: String::new(),
            request: Vec::new(),
            answer: Vec::with_capacity(1024),
        };
        exchange.render();
        exchange
    }

    pub(crate) fn request(&self) -> &[u8] {
        &self.request
    }

    /// Makes the next request the one under way.
    pub(crate) fn advance(&mut self) {
        self.sequence += 1;
        self.render();
    }

    /// The exchange under way has not begun.
    pub(crate) fn restart(&mut self) {
        self.answer.clear();
    }

    fn render(&mut self) {
        self.token.clear();
        let _ = write!(self.token, "c{}m{}", self.connection, self.sequence);
        let text = format!("GET {}{} HTTP/1.1\r\nHost: bench.test\r\nAccept: */*\r\n\r\n", self.prefix, self.token);
        self.request = text.into_bytes();
    }

    /// Takes bytes of the answer.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Answer {
        self.answer.extend_from_slice(bytes);
        let Some(head_bytes) = find(&self.answer, b"\r\n\r\n").map(|at| at + 4) else {
            return if self.answer.len() > ANSWER_BYTES { self.wrong("has no end of its head") } else { Answer::Part };
        };
        let (head, body) = self.answer.split_at(head_bytes);
        if !head.starts_with(b"HTTP/1.1 200 ") {
            return self.wrong("is not a 200");
        }
        let Some(length) = content_length(head) else {
            return self.wrong("has no Content-Length");
        };
        if length > ANSWER_BYTES {
            return self.wrong("is too long");
        }
        if body.len() < length {
            return Answer::Part;
        }
        if body.len() > length {
            return self.wrong("is followed by bytes that nobody asked for");
        }
        if !holds_token(body, self.token.as_bytes()) {
            return self.wrong("is not the answer to this request");
        }
        Answer::Complete
    }

    fn wrong(&self, what: &str) -> Answer {
        let shown = String::from_utf8_lossy(&self.answer[..self.answer.len().min(200)]);
        Answer::Wrong(format!("the answer to {} {what}: {shown:?}", self.token))
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    let line = head
        .split(|&byte| byte == b'\n')
        .find(|line| line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME))?;
    std::str::from_utf8(&line[NAME.len()..]).ok()?.trim().parse().ok()
}

/// Whether `token` stands in `body`, and not as the beginning of a longer one.
fn holds_token(body: &[u8], token: &[u8]) -> bool {
    let mut rest = body;
    while let Some(at) = find(rest, token) {
        rest = &rest[at + token.len()..];
        if !rest.first().is_some_and(u8::is_ascii_digit) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &str) -> Vec<u8> {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    #[test]
    fn an_answer_is_complete_with_its_last_byte() {
        let mut exchange = Exchange::new("/item/", 3);
        assert!(exchange.request().starts_with(b"GET /item/c3m0 HTTP/1.1\r\n"));
        let bytes = answer("{\"token\":\"c3m0\"}");
        let (last, others) = bytes.split_last().expect("bytes");
        for byte in others {
            assert_eq!(exchange.take(&[*byte]), Answer::Part);
        }
        assert_eq!(exchange.take(&[*last]), Answer::Complete);
        exchange.advance();
        exchange.restart();
        assert_eq!(exchange.take(&answer("c3m1")), Answer::Complete);
    }

    #[test]
    fn an_answer_to_another_request_is_wrong() {
        for body in ["c4m0", "c3m1", "c3m01", ""] {
            let mut exchange = Exchange::new("/", 3);
            assert!(matches!(exchange.take(&answer(body)), Answer::Wrong(_)), "{body}");
        }
    }

    #[test]
    fn what_is_no_answer_is_wrong() {
        for bytes in [
            b"HTTP/1.1 500 Oh\r\ncontent-length: 4\r\n\r\nc3m0".as_slice(),
            b"HTTP/1.1 200 OK\r\n\r\nc3m0",
            b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nc3m0more",
        ] {
            assert!(matches!(Exchange::new("/", 3).take(bytes), Answer::Wrong(_)));
        }
    }
}
