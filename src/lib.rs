//! mqtt-bouncer keeps bad clients away from an MQTT broker.

pub mod admission;
pub mod bouncer;
pub mod clock;
pub mod metrics;
pub mod net;
pub mod proxy;
pub mod telemetry;
pub mod wire;
