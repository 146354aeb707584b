"""What schemathesis has to be told of this API: JSON Lines are sent as they are."""

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def json_lines(context, value):
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
