package rule

band := 10000 if input.kind == 1

band := 9000 if input.kind == 2

band := repair if input.kind == 3

band := 1000 if { input.kind == 4; input.origin == 3 }

band := 0 if { input.kind == 4; input.origin != 3 }

band := 8000 if { input.kind == 5; input.origin == 1 }

band := 3000 if { input.kind == 5; input.origin != 1 }

band := 2000 if input.kind == 6

band := 7000 if input.kind in {7, 8}

default band := -2000

repair := -1000 if input.live == 0

repair := 0 if { input.live > 0; input.live >= input.want }

repair := 11000 if { input.live == 1; input.want > 1 }

repair := max([6000 - (1000 * (input.live - 2)), 4000]) if { input.live > 1; input.live < input.want }

age := min([floor(input.waiting / 10000000), 400]) if input.waiting > 0

default age := 0

score := (band + age) - (100 * min([input.attempts, 4]))
