//! mqtt-bouncer keeps bad clients away from an MQTT broker.

pub mod wire;
