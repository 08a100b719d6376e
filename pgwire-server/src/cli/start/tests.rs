//! The clock a node is started with, the kernel's answers given by the test.

use std::io;

use clock::KernelReading;

use super::*;

const M: Duration = Duration::from_millis(10);

struct Told(KernelReading);

impl KernelClock for Told {
    fn read(&self) -> io::Result<KernelReading> {
        Ok(self.0)
    }
}

fn with_kernel(synchronised: bool, max_error_ms: u64) -> Result<Arc<dyn TimeSource>> {
    let reading = KernelReading {
        max_error: Duration::from_millis(max_error_ms),
        offset: Duration::from_millis(1),
        synchronised,
    };
    time_source(M, Some(Arc::new(Told(reading))))
}

fn width_us(time: &dyn TimeSource) -> u64 {
    let interval = time.now();
    (interval.latest_ns - interval.earliest_ns) / 1_000
}

#[test]
fn a_maintained_clock_has_the_kernels_bound() {
    let time = with_kernel(true, 2).expect("the kernel vouches for 3.05 ms");
    assert_eq!(width_us(&*time), 2 * 3_050);
    assert_eq!(width_us(&*time_source(M, None).expect("configured")), 20_000, "otherwise it is as configured");
}

#[test]
fn a_clock_that_nobody_keeps_is_refused_with_what_to_do() {
    for kernel in [with_kernel(false, 2), with_kernel(true, 10)] {
        let words = format!("{:#}", kernel.err().expect("refused"));
        assert!(words.contains("--maintained-clock") && words.contains("chrony"), "{words}");
    }
}
