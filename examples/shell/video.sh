#!/bin/sh
# A video with curl: ./video.sh PICTURE_URL PROMPT [FILE]. REELGATE_URL and REELGATE_KEY name the gateway and the key.
set -eu
picture=$1 prompt=$2 file=${3:-video.mp4}
model=bytedance/dreamina-3-0/image-to-video

# A text as a JSON string, and a member of a JSON document on one line.
quoted() { printf '%s' "$1" | sed 's/\\/\\\\/g; s/"/\\"/g; s/.*/"&"/'; }
member() { sed -n "s/.*\"$1\":\"\\([^\"]*\\)\".*/\\1/p"; }
# Every call may be repeated where the network fails: reading changes nothing, and the submit has a key.
call() { curl --silent --show-error --retry 8 --retry-all-errors --retry-max-time 60 \
  --header "Authorization: Bearer $REELGATE_KEY" "$@"; }
fail() { echo "$1" >&2; exit 1; }

key=$(cat /proc/sys/kernel/random/uuid 2>/dev/null || uuidgen)
submitted=$(call "$REELGATE_URL/v1/models/$model" --header "Idempotency-Key: $key" --json \
  "{\"image_urls\": [$(quoted "$picture")], \"prompt\": $(quoted "$prompt")}")
request_id=$(printf '%s' "$submitted" | member request_id)
[ -n "$request_id" ] || fail "It was refused: $submitted"
echo "The request is $request_id." >&2

status=
until [ "$status" = completed ] || [ "$status" = cancelled ]; do
  answer=$(call "$REELGATE_URL/v1/requests/$request_id/status?wait=25")
  status=$(printf '%s' "$answer" | member status)
  [ -n "$status" ] || fail "The status of $request_id cannot be had: $answer"
  echo "It is $status." >&2
  sleep 1
done

result=$(call "$REELGATE_URL/v1/requests/$request_id/result")
video=$(printf '%s' "$result" | member video)
[ -n "$video" ] || fail "There is no video: $result"
curl --silent --show-error --fail --retry 8 --location --output "$file" "$video"
echo "$file"
