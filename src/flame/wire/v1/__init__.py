"""Generated from proto/flame/v1 by scripts/protoc.sh; do not edit."""
