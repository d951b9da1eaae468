# Ends with 1, and the reason, if a service refused its configuration when it was last reloaded.
# A log of warnings and errors alone says nothing of a success: then it has 5 s to refuse.
since=$(systemctl show --property StateChangeTimestamp --value --timestamp=unix "$1")
for _ in $(seq 25); do
  lines=$(journalctl --unit "$1" --since "$since" --output cat)
  if echo "$lines" | grep -qE 'Error reloading config|Loading configuration file failed'; then
    echo "$lines" | grep -E 'level"?[=:]"?(ERROR|error)' | tail -n 3
    exit 1
  fi
  ! echo "$lines" | grep -q 'Completed loading of configuration file' || exit 0
  sleep 0.2
done
