#!/bin/sh
# The first process of the machine that tests/kernel boots: runs every command of /commands, one
# "NAME COMMAND" a line, and writes to the console what it said, between two marks. The second one has
# its status and the seconds since the machine was started.

/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
ip link set lo up

# What tests of trackers skip otherwise: merging of pages, reserved huge pages, swap space.
echo 1 >/sys/kernel/mm/ksm/run
echo 20 >/sys/kernel/mm/ksm/sleep_millisecs
echo 8 >/proc/sys/vm/nr_hugepages
for module in /modules/*.ko; do insmod "$module"; done
echo 64M >/sys/block/zram0/disksize && mkswap /dev/zram0 >/dev/null && swapon /dev/zram0

# cycle COMMAND...: recorded and verified; its output and status are those of a native run.
cat >/bin/cycle <<'END'
#!/bin/sh
mkdir -p /tmp/cycle && cd /tmp/cycle && rm -rf ./*
"$@" >native.out 2>/dev/null </dev/null
native=$?
/rchk record -o recording -- "$@" >recorded.out 2>recorded.err </dev/null
recorded=$?
cat recorded.err
[ $recorded = $native ] || { echo "status $native natively, $recorded recorded"; exit 1; }
cmp native.out recorded.out || { cat recorded.out; exit 1; }
/rchk verify recording
END
chmod +x /bin/cycle

cd /tmp
echo
while read -r name command; do
  echo "@begin $name"
  sh -c "$command" </dev/null 2>&1
  echo "@end $name $? $(cut -d' ' -f1 /proc/uptime)"
done </commands
poweroff -f
