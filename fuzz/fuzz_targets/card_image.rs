#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| omadm_fuzz_targets::run("card_image", bytes));
