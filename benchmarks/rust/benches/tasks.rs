//! Spawning, awaiting and yielding on both runtimes, at three sizes.

use core::future::Future;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const SIZES: [u64; 3] = [1, 100, 10_000];

/// A runtime, as far as it is measured.
trait Runtime {
    const NAME: &str;
    fn new() -> Self;
    fn run(&mut self, future: impl Future);
    fn spawn(future: impl Future<Output = u64> + Send + 'static) -> impl Future<Output = u64>;
    fn yield_now() -> impl Future + Send;
}

struct Ferrio(ferrio::EventLoop);

impl Runtime for Ferrio {
    const NAME: &str = "ferrio";

    fn new() -> Self {
        Self(ferrio::EventLoop::new().expect("descriptors"))
    }

    fn run(&mut self, future: impl Future) {
        self.0.run(future);
    }

    fn spawn(future: impl Future<Output = u64> + Send + 'static) -> impl Future<Output = u64> {
        let task = ferrio::spawn(future);
        async move { task.await.expect("nobody cancels it") }
    }

    fn yield_now() -> impl Future + Send {
        ferrio::yield_now()
    }
}

struct Tokio(tokio::runtime::Runtime);

impl Runtime for Tokio {
    const NAME: &str = "tokio";

    fn new() -> Self {
        Self(tokio::runtime::Builder::new_current_thread().enable_all().build().expect("descriptors"))
    }

    fn run(&mut self, future: impl Future) {
        self.0.block_on(future);
    }

    fn spawn(future: impl Future<Output = u64> + Send + 'static) -> impl Future<Output = u64> {
        let task = tokio::spawn(future);
        async move { task.await.expect("nobody cancels it") }
    }

    fn yield_now() -> impl Future + Send {
        tokio::task::yield_now()
    }
}

fn measure<R: Runtime>(criterion: &mut Criterion) {
    let mut runtime = R::new();
    let mut group = criterion.benchmark_group("spawn and await, one after the other");
    for size in SIZES {
        group.throughput(Throughput::Elements(size));
        group.bench_function(BenchmarkId::new(R::NAME, size), |bencher| {
            bencher.iter(|| {
                runtime.run(async {
                    for number in 0..size {
                        assert_eq!(R::spawn(async move { number }).await, number);
                    }
                });
            });
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("yield_now, in so many tasks");
    for size in SIZES {
        group.throughput(Throughput::Elements(size * 100));
        group.bench_function(BenchmarkId::new(R::NAME, size), |bencher| {
            bencher.iter(|| {
                runtime.run(async {
                    let yields = || async {
                        for _ in 0..100 {
                            R::yield_now().await;
                        }
                        1
                    };
                    let tasks: Vec<_> = (0..size).map(|_| R::spawn(yields())).collect();
                    for task in tasks {
                        task.await;
                    }
                });
            });
        });
    }
    group.finish();
}

fn both(criterion: &mut Criterion) {
    measure::<Ferrio>(criterion);
    measure::<Tokio>(criterion);
}

criterion_group!(benches, both);
criterion_main!(benches);
