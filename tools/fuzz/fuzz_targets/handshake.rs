//! libFuzzer entry of `engine_wire::fuzz::handshake`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    engine_wire::fuzz::handshake(data, &mut engine_wire::fuzz::Marks::default());
});
