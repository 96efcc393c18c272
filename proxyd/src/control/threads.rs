//! The threads of the control plane: they give way to those that serve calls.

use rustix::process::getpriority_process;
use rustix::process::setpriority_process;
use std::io;
use tokio::runtime::Builder;
use tokio::runtime::Runtime;

/// How much they give way (nice value, `setpriority(2)`): an RPC that reads 100,000 rows gets a tenth of a processor that is
/// wholly busy, and the workers the rest.
const NICE: i32 = 10;

/// A runtime for the servers of RPC clients and for the calls they make.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("proxyd-control")
        .on_thread_start(give_way)
        .enable_all()
        .build()
}

/// Lowers the priority of this thread alone: on Linux each thread has its own.
fn give_way() {
    let lowered = getpriority_process(None).and_then(|now| setpriority_process(None, now.max(NICE)));
    if let Err(error) = lowered {
        crate::log::warning(
            "core",
            format_args!("the control plane keeps its priority: {error}"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_threads_give_way_and_others_do_not() {
        let ours = getpriority_process(None).unwrap();
        let runtime = runtime().unwrap();
        let nice = || getpriority_process(None).unwrap();
        let blocking = runtime.block_on(runtime.spawn_blocking(nice)).unwrap();
        let serving = runtime.block_on(runtime.spawn(async move { nice() })).unwrap();
        assert_eq!([blocking, serving], [NICE.max(ours); 2]);
        assert_eq!(getpriority_process(None).unwrap(), ours);
    }
}
