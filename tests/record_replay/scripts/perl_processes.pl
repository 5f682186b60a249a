# Forks, pipes, signals, sockets, locks and waits, as old scripts use them.
use strict;
use warnings;
use POSIX ":sys_wait_h";
use Socket;
use Fcntl qw(:flock);
$| = 1;

my @children;
for my $number (1 .. 5) {
  my $pid = fork // die;
  if ($pid == 0) {
    my $sum = 0;
    $sum += $_ * $number for 1 .. 20000;
    open my $log, ">>", "log" or die;
    flock $log, LOCK_EX;
    print $log "$number $sum\n";
    close $log;
    exit $number;
  }
  push @children, $pid;
}
print join(",", map { waitpid($_, 0); $? >> 8 } @children), "\n";
open my $log, "<", "log" or die;
print sort <$log>;

my $seen = 0;
$SIG{USR1} = sub { $seen++ };
kill USR1 => $$;
print "seen $seen\n";
eval {
  local $SIG{ALRM} = sub { die "alarm\n" };
  alarm 1;
  1 while 1;
};
print "died of $@";

socketpair(my $here, my $there, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die;
if ((my $pid = fork // die) == 0) {
  close $here;
  while (my $line = <$there>) { syswrite $there, uc $line; }
  exit 0;
} else {
  close $there;
  for my $word (qw(one two three)) {
    syswrite $here, "$word\n";
    print scalar <$here>;
  }
  close $here;
  waitpid $pid, 0;
  print "ended with $?\n";
}
print `echo from a shell; exit 3`, $? >> 8, "\n";
open my $sort, "|-", "sort", "-r" or die;
print $sort "$_\n" for qw(a c b);
close $sort;
$SIG{CHLD} = sub { 1 while waitpid(-1, WNOHANG) > 0; };
system("true");
print "done\n";
