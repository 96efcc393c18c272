//! The small operations by the clock and by their allocations: `cargo bench -p tests`. Instructions, which are steadier, are
//! counted by `tests/bench/micro`.

use divan::AllocProfiler;
use divan::Bencher;
use tests::micro;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

#[divan::bench(args = micro::rows(), sample_count = 20)]
fn operation(bencher: Bencher<'_, '_>, row: &micro::Row) {
    let operation = (row.prepare)();
    bencher.bench_local(operation);
}
