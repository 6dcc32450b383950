"""The parts of `benchmarks.http`: servers, load, references, peers and what is told of them."""
