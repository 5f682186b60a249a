"""Makes, prints and reads JSON: json_loop.py ROUNDS."""

import json
import sys

kept = {}
for number in range(int(sys.argv[1])):
    record = {"number": number, "names": [f"name {i}" for i in range(200)],
              "values": {str(i): i * number / 7 for i in range(200)}}
    text = json.dumps(record, indent=1)
    kept[number % 500] = json.loads(text)
print(len(kept), len(text))
