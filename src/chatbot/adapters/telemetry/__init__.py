"""Traces and metrics with the OpenTelemetry SDK. Imported only where telemetry is switched on."""
