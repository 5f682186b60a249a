# Hashes, regular expressions, sorting and formatting.
use strict;
use warnings;
my $scale = shift;
my %count;
my $seed = 1;
for (1 .. 60000 * $scale) {
  $seed = ($seed * 1103515245 + 12345) % 2147483648;
  my $word = join '', map { chr(97 + ($seed >> $_) % 5) } (3, 7, 11, 13);
  $count{$word}++;
}
my $text = join ' ', map { "$_=$count{$_}" } sort keys %count;
my $sum = 0;
$sum += $1 while $text =~ /=(\d+)/g;
printf "%d words, %d in all, %d long\n", scalar keys %count, $sum, length $text;
