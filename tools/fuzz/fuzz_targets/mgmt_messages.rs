//! libFuzzer entry of `mgmt_protocol::fuzz::messages`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    mgmt_protocol::fuzz::messages(data);
});
