-- What came out, on one line that a program can read.
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    "figures requests=%d us=%d bytes=%d refused=%d broken=%d p50=%d p99=%d\n",
    summary.requests, summary.duration, summary.bytes, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
