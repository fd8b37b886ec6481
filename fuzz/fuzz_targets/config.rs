#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| phantom_frame::fuzzing::config(data));
