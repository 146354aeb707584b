//! rumqttc, the Rust client, in both of its versions.

use crate::harness::{Broker, PATIENCE, Proxy, config};

/// A test that sends a message to itself at every quality of service and awaits all that belongs to it.
macro_rules! round_trips {
    ($test:ident, $name:literal) => {
        #[test]
        fn $test() {
            let broker = Broker::start();
            let proxy = Proxy::start(&config(broker.addr, "", ""));
            let options = MqttOptions::new($name, proxy.addr.ip().to_string(), proxy.addr.port());
            let (client, mut connection) = Client::new(options, 10);
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                let topic = format!("rumqtt/{qos:?}");
                client.subscribe(&topic, qos).expect("queued");
                client.publish(&topic, qos, false, topic.clone()).expect("queued");
                let (mut has_message, mut is_acknowledged) = (false, qos == QoS::AtMostOnce);
                while !(has_message && is_acknowledged) {
                    let event = connection.recv_timeout(PATIENCE).expect("in time").expect("connected");
                    match event {
                        Event::Incoming(Packet::Publish(publish)) => {
                            assert_eq!((publish.qos, &publish.payload[..]), (qos, topic.as_bytes()));
                            assert!(!has_message, "a message came twice");
                            has_message = true;
                        }
                        Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_)) => is_acknowledged = true,
                        _ => {}
                    }
                }
            }
            client.disconnect().expect("queued");
            while connection.recv_timeout(PATIENCE).expect("in time").is_ok() {}
        }
    };
}

mod v311 {
    use super::{Broker, PATIENCE, Proxy, config};
    use rumqttc::{Client, Event, MqttOptions, Packet, QoS};

    round_trips!(rumqttc_gets_every_message_back, "rumqtt-311");
}

mod v5 {
    use super::{Broker, PATIENCE, Proxy, config};
    use rumqttc::v5::mqttbytes::{QoS, v5::Packet};
    use rumqttc::v5::{Client, Event, MqttOptions};

    round_trips!(rumqttc_gets_every_message_back, "rumqtt-5");
}
