//! WebSocket \[RFC 6455\], as far as MQTT needs it: the upgrade of an HTTP request, and frames as borders in a stream of
//! bytes. Nothing is kept of a message: MQTT packets need not end where frames do \[MQTT-6.0.0-2\].

pub mod frame;
pub mod upgrade;
