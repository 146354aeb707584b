-- What HAProxy answers banned clients: CONNACK 0x8A (banned) in MQTT 5, 5 (not authorized) before.

core.register_service("refuse_5", "tcp", function(applet)
  applet:send("\x20\x03\x00\x8a\x00")
end)

core.register_service("refuse_3", "tcp", function(applet)
  applet:send("\x20\x02\x00\x05")
end)
