//! The worker threads: some for each UDP socket, one for connections, one for timers.

use super::Inner;
use super::StartError;
use super::system;
use crate::log;
use crate::proxy::context::SocketId;
use crate::runtime::endpoints::Change;
use crate::runtime::listen::ListenError;
use crate::runtime::timers;
use crate::runtime::worker;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Inner {
    /// Starts the threads that serve every socket.
    pub(super) fn start_workers(&self) -> io::Result<()> {
        let (runtime, queue) = (Arc::clone(&self.runtime), Arc::clone(&self.queue));
        self.spawn("stream", move |number| {
            worker::serve_streams(runtime, number, &queue)
        })?;
        let runtime = Arc::clone(&self.runtime);
        self.spawn("timer", move |number| timers::serve(&runtime, number))
    }

    /// Serves sockets that are open and in force.
    pub(super) fn serve(&self, change: Change) -> Result<(), StartError> {
        for id in &change.udp {
            let served = self.serve_udp(*id);
            served.map_err(system("worker threads"))?;
        }
        for (id, bound) in change.tcp {
            if let Some(listener) = change.next.sockets.get(id) {
                let served = self.runtime.streams.listen(id, listener.transport, bound);
                served.map_err(|error| ListenError::of(listener, error))?;
            }
        }
        Ok(())
    }

    fn serve_udp(&self, id: SocketId) -> io::Result<()> {
        let endpoints = self.runtime.endpoints.load();
        let Some(Some(socket)) = endpoints.udp.get(usize::from(id)) else {
            return Ok(());
        };
        let waiting = self.args.waiting();
        for _ in 0..self.children {
            let (runtime, own) = (Arc::clone(&self.runtime), Arc::clone(socket));
            self.spawn("udp", move |number| {
                worker::serve_udp(runtime, number, id, &own, waiting)
            })?;
        }
        Ok(())
    }

    fn spawn(&self, what: &str, work: impl FnOnce(usize) + Send + 'static) -> io::Result<()> {
        let number = self.spawned.fetch_add(1, Ordering::Relaxed) + 1;
        let thread = std::thread::Builder::new().name(format!("proxyd-{what}-{number}"));
        let thread = thread.spawn(move || {
            log::set_worker(u32::try_from(number).unwrap_or(0));
            work(number);
        })?;
        let mut threads = self.threads.lock();
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
        Ok(())
    }
}
