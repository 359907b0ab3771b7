//! libFuzzer entry of `engine_store::format::fuzz::decoders`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    engine_store::format::fuzz::decoders(data, &mut engine_store::format::fuzz::Marks::default());
});
