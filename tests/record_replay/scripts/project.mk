# Seven objects that two jobs compile side by side, linked, run and compared.
objects := main.o part0.o part1.o part2.o part3.o part4.o part5.o

program: $(objects)
	gcc -o $@ $(objects)

%.o: %.c
	gcc -O1 -c -o $@ $<

check: program
	./program > result
	test "$$(cat result)" = 345

.PHONY: check
