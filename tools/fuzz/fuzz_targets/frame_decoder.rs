//! libFuzzer entry of `engine_wire::fuzz::frame_decoder`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    engine_wire::fuzz::frame_decoder(data, &mut engine_wire::fuzz::Marks::default());
});
