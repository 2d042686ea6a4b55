//! What tasks that sleep take: `sleepers ferrio|tokio COUNT` prints the memory of each, in bytes, and the CPU time of making
//! it, waking it and ending it, in nanoseconds.

use std::time::Duration;
use std::{fs, io};

use rustix::time::{ClockId, clock_gettime};

/// All are asleep before the first wakes.
const SLEEP: Duration = Duration::from_secs(2);

fn resident_bytes() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    Ok(line.and_then(|kilobytes| kilobytes.parse::<u64>().ok()).unwrap_or(0) * 1024)
}

fn cpu_nanos() -> i64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (on, count) = (arguments.next(), arguments.next().and_then(|count| count.parse::<u32>().ok()));
    let count = count.ok_or_else(|| io::Error::other("usage: sleepers ferrio|tokio COUNT"))?;
    let (before, start) = (resident_bytes()?, cpu_nanos());
    let asleep = if on.as_deref() == Some("ferrio") {
        ferrio::run(async {
            let tasks: Vec<_> = (0..count).map(|_| ferrio::spawn(ferrio::sleep(SLEEP))).collect();
            ferrio::yield_now().await;
            let asleep = resident_bytes();
            for task in tasks {
                task.await.map_err(io::Error::other)?;
            }
            asleep
        })?
    } else {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let tasks: Vec<_> = (0..count).map(|_| tokio::spawn(tokio::time::sleep(SLEEP))).collect();
            tokio::task::yield_now().await;
            // Its turns run a part of what is ready.
            tokio::time::sleep(SLEEP / 2).await;
            let asleep = resident_bytes();
            for task in tasks {
                task.await.map_err(io::Error::other)?;
            }
            asleep
        })?
    };
    println!("{} bytes, {} ns", (asleep - before) / u64::from(count), (cpu_nanos() - start) / i64::from(count));
    Ok(())
}
