#!/usr/bin/env python3
"""Sends the lines of a file as logs of OpenTelemetry, through its own exporter (OTLP over HTTP, protobuf, gzip).

    usage: send_otlp.py http://127.0.0.1:8080/v1/logs FILE
    needs: pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http

OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer TOKEN" sends a token. The exit code is 1 if the exporter gave up.
"""

import sys

from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource


def main(url: str, path: str) -> int:
    results = []
    exporter = OTLPLogExporter(endpoint=url, compression=Compression.Gzip)
    export = exporter.export
    exporter.export = lambda batch, **more: results.append(export(batch, **more)) or results[-1]
    provider = LoggerProvider(resource=Resource.create({"service.name": "send-otlp"}))
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    logger = provider.get_logger("send_otlp")
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            logger.emit(LogRecord(body=line.rstrip("\n")))
    provider.shutdown()
    return 0 if results and all(result.name == "SUCCESS" for result in results) else 1


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2]))
