//! An HTTP answer is read as the same however its bytes arrive, and its body is within its limit (RFC 9112).

use std::io::{self, Read};

use omadm_client::transport::read_answer;

/// The largest body.
const LIMIT: usize = 1024;

pub(crate) fn run(bytes: &[u8]) {
    let whole = read_answer(&mut &*bytes, "dm.example", LIMIT);
    let piecewise = read_answer(&mut Pieces(bytes), "dm.example", LIMIT);
    match (&whole, &piecewise) {
        (Ok((one, _)), Ok((other, _))) => {
            assert!(one.body.len() <= LIMIT && (200..1000).contains(&one.status), "{}", one.status);
            assert_eq!((one.status, &one.body), (other.status, &other.body));
            assert_eq!(one.header("content-type"), other.header("content-type"));
        }
        // Which of several failures is met first depends on how much has come.
        (Err(one), Err(other)) => assert!(!one.to_string().is_empty() && !other.to_string().is_empty()),
        _ => panic!("it depends on how the bytes arrive: {whole:?} {piecewise:?}"),
    }
}

/// Bytes that come one by one.
struct Pieces<'a>(&'a [u8]);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let one = buffer.len().min(1);
        self.0.read(buffer.get_mut(..one).unwrap_or_default())
    }
}
