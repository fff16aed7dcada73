//! A socket with the framing of the vpcd virtual reader.
