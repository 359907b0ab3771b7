//! libFuzzer entry of `meta_protocol::fuzz::messages`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meta_protocol::fuzz::messages(data);
});
