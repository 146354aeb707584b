#!/bin/bash
# Writes the seed corpus, fuzz/seeds/TARGET/NAME: `fuzz/seeds.sh`. The formats are those of the targets' own comments.
set -euo pipefail
cd "$(dirname "$0")"

# seed TARGET NAME BYTES: the bytes as printf reads them, with \xNN for what is no text.
seed() {
    mkdir -p "seeds/$1"
    # shellcheck disable=SC2059 # the format is the point
    printf "$3" > "seeds/$1/$2"
}

# connect: the mode, a limit, and what the mode makes a packet of.
# Mode 0: a packet as it is.
seed connect raw_v31 '\x00\x20\x10\x17\x00\x06MQIsdp\x03\x82\x00\x3c\x00\x03dev\x00\x04user'
seed connect raw_v311 '\x00\x20\x10\x17\x00\x04MQTT\x04\xc2\x00\x3c\x00\x03dev\x00\x02me\x00\x02pw'
seed connect raw_v311_will '\x00\x20\x10\x15\x00\x04MQTT\x04\x2e\x00\x3c\x00\x03dev\x00\x01t\x00\x01m'
seed connect raw_v5 '\x00\x20\x10\x15\x00\x04MQTT\x05\x02\x00\x3c\x05\x11\x00\x00\x00\x0a\x00\x03dev'
seed connect raw_bridge '\x00\x20\x10\x0f\x00\x04MQTT\x84\x02\x00\x3c\x00\x03dev'
seed connect raw_then_ping '\x00\x20\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03dev\xc0\x00'
seed connect raw_cut '\x00\x20\x10\x2a\x00\x04MQTT\x05\x02\x00\x3c'
seed connect raw_tls '\x00\x20\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'
seed connect raw_http '\x00\x20GET / HTTP/1.1\r\n\r\n'
seed connect raw_overlong '\x00\x20\x10\xff\xff\xff\xff\x01\x00\x04MQTT\x04'
seed connect raw_huge '\x00\x20\x10\xff\xff\xff\x7f\x00\x04MQTT\x05'
# Mode 1: a body; modes 2, 3 and 4: what follows the protocol level of 3.1, 3.1.1 and 5.
seed connect body_v6 '\x01\x20\x00\x04MQTT\x06\x02\x00\x3c\x00\x00\x03dev'
seed connect after_level_v31 '\x02\x20\xc2\x00\x3c\x00\x03dev'
seed connect after_level_v311 '\x03\x20\x82\x00\x3c\x00\x06d\xc3\xa9v-1\x00\x00'
seed connect after_level_v5 '\x04\x20\x42\x00\x3c\x03\x21\x00\x14\x00\x03dev\x00\x02\xff\x00'
# Modes 5 and 6: flags and fields of 3.1.1 and 5.
seed connect fields_v311 '\x05\x20\xf6\x03dev\x01t\x01m\x04user\x04pass'
seed connect fields_v5 '\x06\x20\xee\x3b\x11\x00\x00\x00\x0a\x21\x00\x14\x27\x00\x00\x10\x00\x22\x00\x05\x19\x01\x17\x00\x26\x00\x01k\x00\x01v\x26\x00\x01k\x00\x01w\x15\x00\x05SCRAM\x16\x00\x02\x00\xff\x03dev\x28\x18\x00\x00\x00\x05\x01\x01\x02\x00\x00\x00\x3c\x03\x00\x01c\x08\x00\x01r\x09\x00\x01\xfe\x26\x00\x01k\x00\x01v\x05topic\x03msg\x04user\x04pass'
# Mode 7: a body behind a padded remaining length.
seed connect padded_v311 '\x07\x20\x00\x04MQTT\x04\x02\x00\x3c\x00\x03dev'
seed connect padded_v5 '\x07\x20\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03dev'

# frame: the version (0, 1, 2), 4 for packets instead of a stream, 16 for each cut; the cuts; the stream or the packets.
seed frame stream_client '\x32\x01\x05\x03\x30\x05\x00\x01aXY\xc0\x00\xe0\x01\x04'
seed frame stream_broker '\x22\x02\x07\x20\x0c\x01\x00\x09\x12\x00\x03abc\x13\x00\x1e\x90\x04\x00\x01\x00\x00\xe0\x02\x8b\x00'
seed frame stream_broker_v311 '\x11\x01\x20\x02\x00\x05'
seed frame stream_auth '\x12\x03\xf0\x02\x18\x00\x20\x03\x00\x00\x00'
seed frame stream_second_connect '\x12\x04\xc0\x00\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03dev'
seed frame stream_connect_inside '\x12\x04\x30\x04\x00\x01\x10\x10\xc0\x00'
seed frame stream_lost '\x12\x04\xc0\x00\x30\xff\xff\xff\xff\x01\xc0\x00'
seed frame stream_lost_connect '\x12\x02\xc0\x00\x10\xff\xff\xff\xff\x01'
seed frame stream_padded '\x12\x03\xe0\x83\x00\x04\x00\x00'
seed frame packets_publish '\x36\x40\x00\x07\x30\x40\x05\x00\x01aXY\x30\x05\x05\x00\x01bXY\xe0\x00\x00'
seed frame packets_long_disconnect '\x16\x20\xe0\x90\x07\x8b\x8d\x01\x1f\x00\x8a!'
# 20 bytes of flags, code and properties, and 4 KB of authentication data: more than a session looks at.
seed frame packets_long_connack '\x16\x00\x20\xf1\x0e\x00\x00\x8a\x20\x13\x00\x1e\x15\x00\x01m\x16\x10\x00'
seed frame packets_huge_connack '\x16\x00\x20\xff\x04\x00\x00\x05\x13'
seed frame packets_huge_disconnect '\x16\x35\xe0\xff\x02\x8b\x80'

# config: a text. (run.sh adds the files of config/.)
seed config least.toml '[[listener]]\nname = "a"\nbind = "[::]:0"\n[upstream]\nservers = ["broker:1883"]\n'
seed config most.toml '[[listener]]
name = "a"
bind = "127.0.0.1:0"
idle_timeout = "keep_alive"
tcp_keepalive = "off"
on_banned_peer = "reset"
[[listener]]
name = "b"
bind = "127.0.0.1:1"
[upstream]
servers = ["127.0.0.1:1884", "[::1]:1884"]
[upstreams.x]
servers = ["y:1"]
[[route]]
protocol = ["3.1", "5"]
upstream = "x"
[[ban]]
as = "clientid"
who = "z"
by = "me"
reason = "r"
at = 2026-01-01T00:00:00Z
until = "infinity"
[[ban]]
as = "peerhost"
who = "::ffff:203.0.113.7"
until = 1900000000
'
seed config mistakes.toml '[[listener]]\nname = "a b"\nbind = "0.0.0.0:99999"\nbindd = 1\nmax_connect_size = "1TB"\n[upstream]\nservers = []\nconnect_timeout = "0s"\n[[ban]]\nas = "x"\nwho = ""\n'
seed config no_toml '[[listener]\nname = \n"'

# exchange: the format (0 to 4), how many bytes come at a time, and the file.
seed exchange jsonl '\x00\x20{"as":"clientid_re","who":"^a\\u00e9$","match":"full","by":"ops","reason":"r","at":"2026-04-22T08:16:31.250+00:00","until":1900000000}\n\n{"as":"clientid"}\n{"as":"peerhost","who":"::1","until":"infinity","until":null}\n'
seed exchange emqx_csv '\x01\x03as,who,until,at,by,reason\r\nclientid,x,,1700000000, me ,\r\rpeerhost_net,10.0.0.0/8,2030-01-01T00:00:00Z,,,\nip,x,,,,\nclientid,x\n'
seed exchange emqx_list '\x02\xff[{"as":"clientid","who":"x","until":null},\n{"as":"username","who":"\\"]}"},{"who":[{}]}]'
seed exchange emqx_page '\x02\x10{"meta":{"page":1,"data":[1]},"data":[{"as":"peerhost_net","who":"::/48"}],"code":0}'
seed exchange tbmq_requests '\x03\x40[{"type":"REGEX","pattern":"a.*","regexMatchTarget":"BY_USERNAME"},{"type":"IP_ADDRESS","ipAddress":"0:0:0:0:0:0:0:1","expirationTime":1900000000007,"description":"d"}]'
seed exchange tbmq_page '\x03\x40{"data":[{"type":"CLIENT_ID","value":"x","regexMatchTarget":null,"status":"ACTIVE","expirationTime":0}],"totalPages":1,"hasNext":false}'
seed exchange plain '\x04\x05# x\nbot\n#bot\n10.0.0.0/8\r\n::1\n10.0.0/8\n x\n'
