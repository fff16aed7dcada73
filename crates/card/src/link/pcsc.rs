//! A reader behind the PC/SC service.
