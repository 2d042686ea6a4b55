//! Two greetings at a time: asyncio's first program.

use std::time::Duration;

async fn say_hello() {
    println!("Hello");
    ferrio::sleep(Duration::from_secs(1)).await;
    println!("World");
}

fn main() {
    ferrio::run(async {
        ferrio::gather!(say_hello(), say_hello());
    });
}
